/** The plain way: what a person types into a shell, here with its data on the stage. */
import { basename } from 'node:path'
import OSS from 'ali-oss'
import { compare } from './compare.mjs'
import { ROOT } from './main-job.mjs'
import { count, tell } from './telling.mjs'

export async function plainWay(stage, { sample }) {
  const { bucket } = stage
  const key = basename(sample)
  const target = `oss://${bucket}/${key}`
  console.log(`\n$ cat ${quoted(sample)} | npx oss-spool put --local ${quoted(target)}`)
  const line = 'cat -- "$1" | npx oss-spool put --quiet --local="$2" "$3"'
  const { output } = await stage.run('sh', ['-c', line, 'sh', sample, stage.path('oss'), target], {
    cwd: ROOT,
    env: {
      ...process.env,
      OSS_SPOOL_DIR: stage.path('spool'),
      npm_config_cache: stage.path('npm'), // where npx keeps its link to this package
    },
  })
  console.log(output.trim())
  const { stream } = await new OSS(stage.oss.clientOptions(bucket)).getStream(key)
  tell(`downloaded: ${count(await compare(stream, sample))} bytes are what the file has`)
}

/** As a shell reads it. */
function quoted(text) {
  return /^[\w./:@%+,-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`
}
