/**
 * Markdown of models as elements, without `innerHTML` anywhere: `<Markdown source={text} isOpen={isStreaming} />`. `source` is a
 * string or a signal of one; while `isOpen`, only the block at the end is read again. What reads it is loaded at the first text, or by `loadMarkdown()` before. Code is coloured and formulas are set with
 * parts that are loaded when they are first met.
 */
export { loadMarkdown, Markdown, type MarkdownProps } from './Markdown.tsx'
