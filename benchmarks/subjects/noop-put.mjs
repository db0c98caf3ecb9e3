/** The same PUT to a server that does nothing with the bytes. */
import { send } from './raw-put.mjs'

export const where = 'nowhere'

export async function run({ places, size, source }) {
  await send(`${places.noop}/`, size, source)
}
