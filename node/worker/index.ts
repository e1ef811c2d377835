/**
 * What a node beside vLLM on a rented machine does more than other nodes: it offers models only once they have answered,
 * leaves when the provider says so, and ends the machine when nobody is left who would.
 */
export { ALONE_FILE, AloneSwitch, runPowerOff, type AloneSwitchComponents, type AloneSwitchInit } from './alone.ts'
export { noticeSource, NoticeWatch, type Notice, type NoticeChoice, type NoticeSource } from './notice.ts'
export { Readiness, type ReadinessComponents } from './readiness.ts'
