/** The live picture of the mesh: pages for nodes, tasks and models. Import it lazily: the chat needs nothing of it. */
export { MeshPage } from './MeshPage.tsx'
export { ModelsPage } from './ModelsPage.tsx'
export { NodePage } from './NodePage.tsx'
export type { MeshGateway, MeshPageProps } from './ports.ts'
export { TaskPage } from './TaskPage.tsx'
export { TasksPage } from './TasksPage.tsx'
