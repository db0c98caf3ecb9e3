/**
 * Upper bound, in ms, for operations that should finish immediately, even on a busy machine. Operations that
 * wait for a timeout, a retry or the end of a long source take longer.
 */
export const SLOWEST = 10_000
