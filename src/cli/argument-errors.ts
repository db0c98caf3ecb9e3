/**
 * Words the library's errors for wrong arguments as errors of the command line: they name the flag, the variable or
 * the line of the file that the value came from, never an option of the library.
 */
import { argumentProblem } from '../errors.js'
import { errorMessage } from '../util/error-shape.js'
import { settingOfOption, SETTING_DEFINITIONS } from './config-schema.js'
import type { Session } from './session.js'

/** Options of the library that are no settings. */
const OTHER_NAMES: Readonly<Record<string, string>> = {
  id: 'The upload id',
  port: '--port',
  overwrite: '--no-overwrite',
}

/** Names that occur only as options in a sentence, unlike `size`. */
const OPTION_NAME = new RegExp(
  `"?\\b(${SETTING_DEFINITIONS.map(({ option }) => option)
    .filter(option => /[.A-Z]/.test(option))
    .map(option => option.replaceAll('.', '\\.'))
    .join('|')})\\b"?`,
  'g',
)

/** Returns the message of an error for a person at the command line. */
export function describeArgumentError(session: Session, error: unknown): string {
  const problem = argumentProblem(error)
  if (problem === undefined) return errorMessage(error)
  const setting = settingOfOption(problem.name)
  const subject =
    setting === undefined ? (OTHER_NAMES[problem.name] ?? problem.name) : session.subjectOf(setting)
  const reason = problem.reason.replaceAll(OPTION_NAME, (name: string, option: string) => {
    const named = settingOfOption(option)
    return named === undefined ? name : (named.flags?.replace(/ .*/, '') ?? named.env)
  })
  const received = problem.received === undefined ? '' : `. Received ${problem.received}`
  return `${subject} ${reason}${received}`
}
