/**
 * What should be over at once is over by then on a machine that is busy with other things, in ms;
 * what waits for a time-out, a retry or the end of a long source is not.
 */
export const SLOWEST = 10_000
