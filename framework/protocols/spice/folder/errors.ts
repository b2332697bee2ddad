import { stateError, type AtpError } from '../../../core/errors.ts'

/** The VM's folder channel serves somebody already. */
export function folderTakenError(place: string): AtpError {
  return stateError('ATP_SPICE_FOLDER_TAKEN', `${place}: a folder is shared with this VM already`, {
    context: { place },
    remedy: 'close that one first: a VM has one shared folder at a time',
  })
}
