/** Reads single flags from a command line that could not be parsed, or is not parsed yet. */

/** Directory of `--local` without a value. */
export const DEFAULT_LOCAL_DIR = './oss-data'

/** Values of flags that may be given without one. A value is always part of the same argument. */
export const BARE_FLAG_VALUES: ReadonlyMap<string, string> = new Map([
  ['--local', DEFAULT_LOCAL_DIR],
  ['--gzip', '6'],
  ['--zstd', '3'],
])

/** Returns the arguments before `--`; the others belong to the command of `run`. */
export function ownArguments(args: readonly string[]): readonly string[] {
  const separatorIndex = args.indexOf('--')
  return separatorIndex < 0 ? args : args.slice(0, separatorIndex)
}

/** Returns the value of `--flag VALUE` or `--flag=VALUE`, the first if it was given twice. */
export function rawFlagValue(args: readonly string[], flag: string): string | undefined {
  const own = ownArguments(args)
  const index = own.findIndex(arg => arg === flag || arg.startsWith(`${flag}=`))
  const arg = own[index]
  return arg === flag ? own[index + 1] : arg?.slice(flag.length + 1)
}
