/** A server that discards bodies and answers 200: the minimal cost of any server. */
import { createServer } from 'node:http'
import { listening } from './listening.mjs'

export function startNoop() {
  return listening(
    createServer((request, response) => {
      request.resume().on('end', () => response.end())
    }),
  )
}
