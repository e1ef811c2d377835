/** Words around what models write, in French. */
import type { AnswersWords } from './answers.ts'

export const answersWordsFr: AnswersWords = {
  markdown: {
    code: 'code',
    copyCode: 'Copier le code',
    image: 'Image',
    table: 'Tableau',
    formula: 'Formule',
  },
}
