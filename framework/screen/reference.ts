import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { assertionError, configError, isAtpError, pollUntil, type CallOptions } from '../core/index.ts'
import type { CompareOptions, Picture, Screen } from './api.ts'
import { compare } from './compare.ts'
import { encodePng, toPicture } from './image-file.ts'
import { crop } from './picture.ts'

/** Keeps evidence; see `TestScope.attach`. */
export type AttachImage = (name: string, contentType: string, content: Uint8Array) => unknown

const FOLDER = '__screens__'
const NAME = /^[\p{L}\p{N}][\p{L}\p{N} ._-]*$/u

/** The expected pictures of one spec file: PNG files in the folder `__screens__` beside it. */
export class ReferenceImages {
  readonly #folder: string
  readonly #update: boolean

  /** @param update Whether pictures are written from what is seen instead of being compared. */
  constructor(specFile: string, update: boolean) {
    this.#folder = join(dirname(specFile), FOLDER)
    this.#update = update
  }

  /**
   * Waits until the screen, or its region, looks like the picture `name`. When it does not in time, what was seen, what
   * was expected and the differences are attached. With `update` the stable screen becomes the picture,
   * which is attached.
   *
   * @returns what to say about it in the report.
   * @throws `ATP_SCREEN_IMAGE` (product), `ATP_SCREEN_NO_REFERENCE`, `ATP_SCREEN_IMAGE_NAME`.
   */
  async match(
    screen: Screen,
    name: string,
    options: CompareOptions & CallOptions,
    attach: AttachImage,
  ): Promise<string> {
    const path = this.#pathOf(name)
    const { timeoutMs, signal, ...how } = options
    if (this.#update) {
      const picture = crop(await screen.waitForStable({ ...how, timeoutMs, signal }), how.region)
      const { bytes } = encodePng(picture)
      await save(path, bytes)
      attach(`${name}: written, not compared`, 'image/png', bytes)
      return `${FOLDER}/${name}.png was written, not compared`
    }
    const expected = await this.read(name, async () => {
      attach(`${name}: seen`, 'image/png', (await screen.screenshot({ region: how.region, timeoutMs, signal })).bytes)
    })
    let seen: Picture | undefined
    try {
      await pollUntil(`${screen.name} to look like "${name}"`, { timeoutMs, signal }, async (bound) => {
        seen = await screen.picture({ signal: bound })
        return compare(seen, expected, how).same || undefined
      })
      return 'as expected'
    } catch (error) {
      if (!isAtpError(error, 'ATP_TIMEOUT') || !seen) throw error
      const { reason, difference } = compare(seen, expected, how)
      attach(`${name}: seen`, 'image/png', encodePng(crop(seen, how.region)).bytes)
      attach(`${name}: expected`, 'image/png', encodePng(expected).bytes)
      if (difference) attach(`${name}: differences`, 'image/png', encodePng(difference).bytes)
      throw assertionError('ATP_SCREEN_IMAGE', `the screen of ${screen.name} does not look like "${name}": ${reason}`, {
        cause: error.cause,
        remedy: 'look at the attached pictures; if what was seen is right, run once with --update-screens',
      })
    }
  }

  /** @throws `ATP_SCREEN_NO_REFERENCE` after `beforeMissing`, `ATP_SCREEN_IMAGE_NAME`. */
  async read(name: string, beforeMissing: () => Promise<void> = async () => {}): Promise<Picture> {
    const path = this.#pathOf(name)
    let bytes: Uint8Array
    try {
      bytes = await readFile(path)
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw cause
      await beforeMissing()
      throw configError('ATP_SCREEN_NO_REFERENCE', `there is no picture "${name}" yet: ${path} does not exist`, {
        cause,
        remedy: 'run once with --update-screens, look at the picture, and commit it',
      })
    }
    return toPicture({ contentType: 'image/png', bytes })
  }

  #pathOf(name: string): string {
    if (NAME.test(name)) return join(this.#folder, `${name}.png`)
    throw configError('ATP_SCREEN_IMAGE_NAME', `${JSON.stringify(name)} cannot be the name of a picture`, {
      remedy: 'use letters, digits, spaces, dots, hyphens and underscores, without ".png"',
    })
  }
}

/** Whole or not at all: another worker may read it. */
async function save(path: string, bytes: Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  const next = `${path}.${process.pid}`
  await writeFile(next, bytes)
  await rename(next, path)
}
