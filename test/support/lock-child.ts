/**
 * A second process that uses the lock of a directory until it is killed. With `hold`, acquires the lock and
 * prints a line. With `probe`, reads the lock's owner in a tight loop.
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
