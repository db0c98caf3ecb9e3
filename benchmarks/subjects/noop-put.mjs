/** A raw PUT to a server that ignores the bytes. */
import { send } from './raw-put.mjs'

export const where = 'nowhere'

export async function run({ places, size, source }) {
  await send(`${places.noop}/`, size, source)
}
