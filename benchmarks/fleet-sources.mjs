/** Source of the workers in `cases/fleet.mjs`. */
const block = Buffer.alloc(2 ** 20, 'oss-spool')

export function* blocks({ size }) {
  for (let left = size; left > 0; left -= block.length) yield block.subarray(0, left)
}
