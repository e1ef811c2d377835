/** The models that come with Skein, made by `scripts/bundled-model`: small, and there from the first second. */
import { fileURLToPath } from 'node:url'

/** Path of the language model, as a node can serve it. Its card stands beside it. */
export const BUNDLED_CHAT_MODEL = fileURLToPath(new URL('../bundled/chat/skein-tiny.gguf', import.meta.url))
