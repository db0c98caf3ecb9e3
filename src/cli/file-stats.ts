/**
 * Stats of files that may be FIFOs. Node keeps the result of the last synchronous stat, and its `realpathSync` takes a
 * FIFO found there for the one it looks at: an `import()` of a package then does not follow the links by which pnpm
 * installs packages. So another file is looked at afterwards.
 */
import { fstatSync, statSync, type Stats } from 'node:fs'

/** @throws as `statSync` */
export function statsOf(path: string): Stats {
  try {
    return statSync(path)
  } finally {
    statSync('/')
  }
}

/** @throws as `fstatSync` */
export function statsOfFd(fd: number): Stats {
  try {
    return fstatSync(fd)
  } finally {
    statSync('/')
  }
}
