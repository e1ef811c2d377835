/** Devices where others in the house look for them. */
export { HomeAssistant, type HomeAssistantComponents, type HomeAssistantInit } from './home-assistant.ts'
