/**
 * Finds files of this package by their path in it, wherever the build has put the code that asks.
 * @param path – such as `dist/cli/bin.js`
 * @throws ERR_MODULE_NOT_FOUND in a program that was bundled without the package
 */
export function packageFile(path: string): URL {
  return new URL(path, import.meta.resolve('oss-spool/package.json'))
}
