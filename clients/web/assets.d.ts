/** What vite makes of files that are no code. */
declare module '*.module.css' {
  const classes: Readonly<Record<string, string>>
  export default classes
}
declare module '*.css' {}
declare module 'virtual:skein-build' {
  /** Of the sources: what is shown under “About”, and what tells an old page from a new one. */
  export const digest: string
  /** Of package.json. */
  export const version: string
}
