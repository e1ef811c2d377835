/** The charts' library with its style, apart: only a page that draws a chart loads it. */
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'

export { uPlot }
