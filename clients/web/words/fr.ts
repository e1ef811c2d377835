/** All words in French, loaded when they are wanted. */
import { accessWordsFr } from './access.fr.ts'
import { answersWordsFr } from './answers.fr.ts'
import { appWordsFr } from './app.fr.ts'
import { chatsWordsFr } from './chats.fr.ts'
import { devicesWordsFr } from './devices.fr.ts'
import type { Words } from './index.ts'
import { meshWordsFr } from './mesh.fr.ts'
import { syncWordsFr } from './sync.fr.ts'

export const french: Words = {
  access: accessWordsFr,
  answers: answersWordsFr,
  app: appWordsFr,
  chats: chatsWordsFr,
  devices: devicesWordsFr,
  mesh: meshWordsFr,
  sync: syncWordsFr,
}
