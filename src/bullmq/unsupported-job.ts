/**
 * This worker cannot run a job, but another one may: a deployment is under way, or the fleet has workers with different
 * sources.
 */
export class UnsupportedJobError extends Error {
  override readonly name = 'UnsupportedJobError'
  /** What this worker lacks: the source, or the version that knows the data. */
  readonly lacks: 'source' | 'version'

  constructor(message: string, { lacks }: { readonly lacks: 'source' | 'version' }) {
    super(message)
    this.lacks = lacks
  }
}

/** @param known – names of the sources of this worker */
export function unknownSourceError(
  source: string,
  host: string,
  known: readonly string[],
): UnsupportedJobError {
  const names = known.length === 0 ? 'none' : known.join(', ')
  const message = `The worker on ${host} has no source "${source}" (it has ${names}). Deploy the source, or remove the job`
  return new UnsupportedJobError(message, { lacks: 'source' })
}
