// Before the first paint: the colours and the frame that were chosen, else the page flashes in others.
try {
  const theme = localStorage.getItem('skein.theme')
  if (localStorage.getItem('skein.sidebar') === 'folded') document.documentElement.dataset.sidebar = 'folded'
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme
} catch {
  // the browser keeps nothing: the system's colours
}
