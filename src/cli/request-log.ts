/** `--debug`: one line for every request, without anything that could be a secret. */
import { watchRequests } from './requests.js'

/** Logs until the returned function is called. */
export function logRequests(log: (line: string) => void): () => void {
  return watchRequests(request => {
    const { method, operation, host, path, partNumber, outcome, elapsed, bytes, requestId } =
      request
    const part = partNumber === undefined ? '' : ` part ${partNumber}`
    const id = requestId === undefined ? '' : ` request ${requestId}`
    log(
      `debug: ${method} ${operation} ${host}${path}${part}: ${outcome}, ${elapsed.toFixed(0)} ms, ${bytes} bytes${id}`,
    )
  })
}
