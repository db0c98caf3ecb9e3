/**
 * Reports words that this project avoids, as file:line, in comments, strings and prose; exits with 1 if
 * there are any. Names are not checked: code, and a word that is alone in quotes or backticks. Allow any
 * other legitimate use with "language: allow" in a comment on its line or on the line before.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'

const PATHS =
  'src test docs benchmarks examples scripts schema README.md CHANGELOG.md SECURITY.md CONTRIBUTING.md ARCHITECTURE.md'
// A space also stands for a line break within a comment. language: allow
const AVOIDED =
  /\b(mend(s|ed|ing)?|told|bereft|whoever|whatever|heed(s|ed|ing)?|so (many|much|long)|of ours|strangers?('s)?|let go|(try|tried) again|his)\b/
const PATTERN = new RegExp(AVOIDED.source.replaceAll(' ', String.raw`(?:\s|[*#]|//)+`), 'gi')
/** Comments and strings of a module. A quote in a regular expression can blur the border. */
const TOKEN = /\/\/.*|\/\*[^]*?\*\/|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`/g
const ALLOWED = 'language: allow'

const list = execFileSync('git', ['ls-files', '-z', '--', ...PATHS.split(' ')], {
  encoding: 'utf8',
})
for (const file of list.split('\0')) {
  if (file === 'benchmarks/results.json' || !existsSync(file)) continue
  const text = readFileSync(file, 'utf8')
  if (text.includes('\0')) continue // binary
  const lines = text.split('\n')
  const tokens = /\.m?[jt]s$/.test(file) ? text.matchAll(TOKEN) : [{ 0: text, index: 0 }]
  for (const token of tokens) {
    for (const { 0: words, index } of token[0].matchAll(PATTERN)) {
      const [before, after] = [token[0][index - 1], token[0][index + words.length]]
      if (before === after && /["'`]/.test(before)) continue
      const line = text.slice(0, token.index + index).split('\n').length
      if (lines.slice(Math.max(0, line - 2), line).some(at => at.includes(ALLOWED))) continue
      console.error(`${file}:${line}: "${words.replaceAll(/\s+/g, ' ')}"`)
      process.exitCode = 1
    }
  }
}
