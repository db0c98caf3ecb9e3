/** Confirmation prompt before data is discarded. Only a terminal is asked; a script proceeds. */
import { createInterface } from 'node:readline'
import { escapeControlChars } from '../util/control-chars.js'
import type { Session } from './session.js'

/** Whether there is a terminal to ask. */
export function canAsk({ io: { stdin, stderr } }: Session): boolean {
  return stdin.isTTY && stderr.isTTY
}

/**
 * Resolves to the answer, or to `true` without asking unless standard input and standard error are terminals. The end
 * of the input and an interrupt count as no.
 */
export async function confirm(session: Session, text: string): Promise<boolean> {
  const question = escapeControlChars(text)
  const { stdin, stderr } = session.io
  if (!canAsk(session)) return true
  const isJson = session.logFormat === 'json'
  // As JSON, the question is a line, and the terminal itself echoes the answer.
  const prompt = createInterface({ input: stdin, output: isJson ? undefined : stderr })
  if (isJson) session.logLine(`${question} [y/N]`)
  // The terminal is in raw mode, so Ctrl-C sends no signal.
  prompt.once('SIGINT', () => session.interrupt('SIGINT'))
  const onAbort = (): void => prompt.close()
  session.signal.addEventListener('abort', onAbort, { once: true })
  try {
    const answer = await new Promise<string | undefined>(resolve => {
      prompt.once('close', () => resolve(undefined))
      prompt.question(isJson ? '' : `${question} [y/N] `, resolve)
      if (session.signal.aborted) prompt.close()
    })
    // The cursor is still behind the question.
    if (answer === undefined && !isJson) stderr.write('\n')
    return /^y(es)?$/i.test(answer?.trim() ?? '')
  } finally {
    session.signal.removeEventListener('abort', onAbort)
    prompt.close()
  }
}
