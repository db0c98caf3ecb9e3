/** Rules for tags, which differ between objects, buckets and lifecycle rules. Pure. */
import { OssError } from '../oss-error.js'
import type { Tag } from '../store/record.js'

const MAX_OBJECT_TAGS = 10
const MAX_BUCKET_TAGS = 20

/** ASCII but letters, digits, spaces and `+-=._:/`. */
const FORBIDDEN_CHARACTERS = /[^\w +\-=.:/\u0080-\uffff]/

/** Checks the tags of an object: at most 10, of valid characters. */
export function checkObjectTags(tags: Tag[]): Tag[] {
  return checkRuleTags(checkTags(tags, MAX_OBJECT_TAGS))
}

/** Checks the tags of a bucket: at most 20, of any characters. */
export function checkBucketTags(tags: Tag[]): Tag[] {
  return checkTags(tags, MAX_BUCKET_TAGS)
}

/** Checks the tags of a lifecycle rule: valid characters only. One that no object can have selects none. */
export function checkRuleTags(tags: Tag[]): Tag[] {
  if (tags.some(([key, value]) => FORBIDDEN_CHARACTERS.test(key + value))) throw invalidTags()
  return tags
}

/** Checks number and lengths: keys of 1 to 128 and values of up to 256 characters, no duplicate keys. */
function checkTags(tags: Tag[], maxTags: number): Tag[] {
  const keys = new Set(tags.map(([key]) => key))
  const hasLengths = tags.every(
    ([key, value]) => key.length >= 1 && key.length <= 128 && value.length <= 256,
  )
  if (tags.length > maxTags || keys.size !== tags.length || !hasLengths) throw invalidTags()
  return tags
}

const invalidTags = (): OssError =>
  new OssError('InvalidArgument', { message: 'The tagging is invalid.' })
