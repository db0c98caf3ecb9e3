import { pipeline } from 'node:stream/promises'
import { Spool } from 'oss-spool'
import { jsonl, rotate } from 'oss-spool/etl'
import { openOss } from './oss.mjs'
const oss = await openOss()
const spool = new Spool({ client: oss.client })
let made=0
const sink = rotate(spool, { job:'leak', key:'l/{seq}.gz', format: jsonl, transform:'gzip', every:{records:10} })
sink.on('object', () => { if (++made%100===0) { gc(); const m=process.memoryUsage(); console.log(made, ...['rss','heapUsed','external','arrayBuffers'].map(k=>k+'='+(m[k]/2**20).toFixed(1))) }})
await pipeline((function*(){for(let i=0;i<8000;i++) yield {i}})(), sink)
await oss.close()
