/**
 * Another process at the lock of a directory. `hold`: takes it, says so, and keeps it until it is
 * killed. `probe`: asks for its owner as fast as it can until it is killed.
 */
import { Lock, ownerOf } from '../../src/disk/lock.js'

const [role, directory = ''] = process.argv.slice(2)

if (role === 'hold') {
  const lock = await Lock.acquire(directory)
  console.log(typeof lock === 'string' ? lock : 'holding')
  setInterval(() => {}, 60_000)
} else if (role === 'probe') {
  console.log('probing')
  for (;;) await ownerOf(directory)
}
