export { FolderClients } from './folder-clients.ts'
export { folderTakenError } from './errors.ts'
