/** Codes of errors, decided by shape. */

/** The `code` of an error, if it is a string: `ENOENT`, `ERR_SPOOL_LOCKED`, ... */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}
