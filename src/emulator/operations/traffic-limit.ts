/** `x-oss-traffic-limit`: checked, and not applied. `link` of the emulator limits the speed. */
import { invalidArgument } from '../oss-error.js'
import type { OperationContext } from './operation-context.js'

/** Limits in bit/s: 30 KiB/s, which older documentation names and `ali-oss` tests rely on, and 100 MiB/s. */
const MIN_BITS_PER_SECOND = 245_760
const MAX_BITS_PER_SECOND = 838_860_800

/** Throws 400 InvalidArgument for a limit that OSS refuses. It is a header, or a parameter of a presigned URL. */
export function checkTrafficLimit({ headers, query }: OperationContext): void {
  const name = 'x-oss-traffic-limit'
  const value = headers.get(name) ?? query.get(name)
  if (value === undefined) return
  const limit = /^\d{1,12}$/.test(value) ? Number(value) : 0
  if (limit < MIN_BITS_PER_SECOND || limit > MAX_BITS_PER_SECOND)
    throw invalidArgument(name, value, 'The traffic limit is invalid.')
}
