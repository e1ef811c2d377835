/** Words around what models write. */
export const answersWords = {
  markdown: {
    /** The label of a block without a language. */
    code: 'code',
    copyCode: 'Copy code',
    /** In front of what an image is called; it is shown as a link. */
    image: 'Image',
    table: 'Table',
    formula: 'Formula',
  },
}

export type AnswersWords = typeof answersWords
