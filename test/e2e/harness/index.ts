/**
 * What tests of the page share: real processes, a real browser, and eyes for what must not happen in it.
 *
 * ```ts
 * const mesh = useMesh()
 * const browser = useBrowser()
 * it('opens', async () => {
 *   const view = await browser.view(mesh.http)
 *   const page = await view.open('/')
 *   await page.getByRole('textbox').fill('hello')
 *   await view.expectAxeClean()
 * })
 * ```
 *
 * A test fails, whatever else it looks at, by an error in the console or in the page, by what the content security policy
 * refuses, and by a request to another origin; `view.problems.allow(/…/)` says which one it means to cause.
 */
export { useBrowser, type TestBrowser, type ViewInit } from './browser.ts'
export { BUNDLED_MODEL, CLOUD_MODEL, Mesh, useMesh, type MeshInit } from './mesh.ts'
export { DESKTOP, PHONE, type View } from './view.ts'
