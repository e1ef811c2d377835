/** Whether everything that `topic` names, which may have wildcards itself, is within the MQTT filter `filter`. */
export function covers(filter: string, topic: string): boolean {
  const wanted = filter.split('/')
  const levels = topic.split('/')
  for (const [at, level] of wanted.entries()) {
    if (level === '#') return true
    const named = levels[at]
    if (named === undefined || named === '#') return false
    if (level !== '+' && level !== named) return false
  }
  return wanted.length === levels.length
}
