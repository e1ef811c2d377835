/** Bounds of what is kept, the same for what a person writes, imports or gets from another device (docs/CHATS.md). */

/** Of a title or the name of a folder, in UTF-16 units. */
export const TITLE_MAX = 200
export const FOLDER_MAX = 80
export const MODEL_MAX = 200
export const SYSTEM_MAX = 64_000
/** Of all texts of one message together, in UTF-16 units. */
export const MESSAGE_TEXT_MAX = 2_000_000
export const PARTS_MAX = 256
/** Of what is kept beside a text, as JSON. */
export const MADE_BYTES_MAX = 64_000
/** Of a request that waits: it carries the whole conversation. */
export const ASK_BYTES_MAX = 16_000_000
export const DRAFT_MAX = 1_000_000
/** Deeper trees are not walked: a chat of a person has some hundreds. */
export const DEPTH_MAX = 20_000
/** A tombstone is kept this long: a device that was away for longer may bring back what others have deleted. */
export const TOMBSTONE_DAYS = 180
/** Words of a search. */
export const QUERY_WORDS_MAX = 12
export const QUERY_MAX = 400
export const HITS_MAX = 200
