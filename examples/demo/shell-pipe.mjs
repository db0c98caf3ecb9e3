/** The same upload as a shell pipe, with its data in the sandbox. */
import { basename } from 'node:path'
import OSS from 'ali-oss'
import { compare } from './compare.mjs'
import { ROOT } from './main-job.mjs'
import { count, logStep } from './log.mjs'

export async function shellPipe(sandbox, { sample }) {
  const { bucket } = sandbox
  const key = basename(sample)
  const target = `oss://${bucket}/${key}`
  console.log(`\n$ cat ${quoted(sample)} | npx oss-spool put --local ${quoted(target)}`)
  const line = 'cat -- "$1" | npx oss-spool put --quiet --local="$2" "$3"'
  const { output } = await sandbox.run(
    'sh',
    ['-c', line, 'sh', sample, sandbox.path('oss'), target],
    {
      cwd: ROOT,
      env: {
        ...process.env,
        OSS_SPOOL_DIR: sandbox.path('spool'),
        npm_config_cache: sandbox.path('npm'), // npx keeps its link to this package there
      },
    },
  )
  console.log(output.trim())
  const { stream } = await new OSS(sandbox.oss.clientOptions(bucket)).getStream(key)
  logStep(`downloaded: ${count(await compare(stream, sample))} bytes equal the file`)
}

/** Quotes a word for the shell if necessary. */
function quoted(text) {
  return /^[\w./:@%+,-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`
}
