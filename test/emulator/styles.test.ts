/** Styles of image processing are kept, though no image is processed. */
import t from 'tap'
import { startEmulator } from '../../src/emulator/index.js'
import { ask, tag } from './clients.js'

const style = (content: string) => ({ body: `<Style><Content>${content}</Content></Style>` })

t.test('styles are stored, listed and deleted by name', async t => {
  const oss = await startEmulator({ buckets: ['bkt'] })
  t.teardown(() => oss.close())
  const one = '/bkt/?style&styleName=one'
  t.same(tag((await ask(oss, 'GET', one)).body, 'Code'), 'NoSuchStyle')
  t.equal((await ask(oss, 'PUT', one, style('image/resize,p_50'))).status, 200)
  t.equal((await ask(oss, 'PUT', one, style('image/resize,p_25'))).status, 200)
  t.equal((await ask(oss, 'PUT', '/bkt/?style&styleName=two', style('a&amp;b'))).status, 200)
  const { body } = await ask(oss, 'GET', one)
  t.same([tag(body, 'Name'), tag(body, 'Content')], ['one', 'image/resize,p_25'])
  const list = (await ask(oss, 'GET', '/bkt/?style')).body
  t.same(list.match(/<Name>\w+|<Content>[^<]+/g), [
    '<Name>one',
    '<Content>image/resize,p_25',
    '<Name>two',
    '<Content>a&amp;b',
  ])
  t.equal((await ask(oss, 'DELETE', one)).status, 204)
  t.equal((await ask(oss, 'DELETE', one)).status, 204, 'also a missing one')
  t.same((await ask(oss, 'GET', '/bkt/?style')).body.match(/<Name>\w+/g), ['<Name>two'])
})

t.test('a style needs a content, a valid name and a bucket', async t => {
  const oss = await startEmulator({ buckets: ['bkt'] })
  t.teardown(() => oss.close())
  const code = async (path: string, body: string) =>
    tag((await ask(oss, 'PUT', path, { body })).body, 'Code')
  t.equal(await code('/bkt/?style&styleName=a', '<Style></Style>'), 'MalformedXML')
  t.equal(await code('/bkt/?style&styleName=a', 'x'), 'MalformedXML')
  t.equal(await code('/bkt/?style&styleName=a!b', style('x').body), 'InvalidArgument')
  t.equal(await code('/bkt/?style&styleName', style('x').body), 'InvalidArgument')
  t.equal(await code('/none/?style&styleName=a', style('x').body), 'NoSuchBucket')
})
