/** Layout of the help. On a narrow terminal, descriptions go below their options, since no column is left for them. */
import { Help } from 'commander'

/** Narrowest column of descriptions. The list of commands leaves 34 of 80 columns. */
const MIN_WIDTH = 24
const INDENT = 6
/** Spaces around the terms. */
const MARGIN = 4

/** Configuration of the help of all commands. */
export const HELP_LAYOUT: Pick<Help, 'minWidthToWrap' | 'formatItem'> = {
  minWidthToWrap: MIN_WIDTH,
  formatItem(term, width, description, helper) {
    const columns = helper.helpWidth ?? 80
    if (columns - width - MARGIN >= MIN_WIDTH || description === '') {
      return Help.prototype.formatItem.call(helper, term, width, description, helper)
    }
    const lines = helper.boxWrap(description, columns - INDENT).split('\n')
    return [`  ${term}`, ...lines.map(line => `${' '.repeat(INDENT)}${line}`)].join('\n')
  },
}
