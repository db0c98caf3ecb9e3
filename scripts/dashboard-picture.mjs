/**
 * Draws the dashboard of examples/monitoring with the data of a running Prometheus, without Grafana, as
 * docs/fleet-dashboard.png. Usage: node scripts/dashboard-picture.mjs http://127.0.0.1:9090 FROM TO
 * FROM and TO are times in ISO 8601. Needs Chromium and pngquant.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { chromium } from 'playwright-core'
import { svgOf } from '../benchmarks/plots.mjs'

const DASHBOARD = new URL('../examples/monitoring/grafana-dashboard.json', import.meta.url)
const PICTURE = new URL('../docs/fleet-dashboard.png', import.meta.url).pathname
/** Size of the grid of a dashboard: 24 columns. */
const CELL = { width: 42, height: 20 }
const RED = '#c4162a'
const COLORS = ['#3a8f3a', '#d9a300', '#3274d9', '#d9531e', '#8f3bb8', '#00808a', '#777']
/** Units of Vega's number formats, by Grafana's names. */
const FORMATS = {
  none: ['d', ''],
  short: ['~s', ''],
  percentunit: ['~%', ''],
  s: ['~s', 's'],
  bytes: ['~s', 'B'],
  Bps: ['~s', 'B/s'],
}

const [prometheus, ...times] = process.argv.slice(2)
const [from, to] = times.map(time => Date.parse(time) / 1000)
const dashboard = JSON.parse(readFileSync(DASHBOARD, 'utf8'))
/** Without the last row, disk and process, to keep the picture below 30 KB. */
const panels = dashboard.panels.slice(0, -3)
/** As Grafana chooses it, with the default interval of scrapes. */
const step = Math.max(15, Math.round((to - from) / 300))

async function query(expr) {
  const text = expr
    .replaceAll('$__rate_interval', `${Math.max(60, step + 15)}s`)
    .replaceAll('$__range', `${to - from}s`)
    .replaceAll('$queue', '.*')
  const parameters = new URLSearchParams({ query: text, start: from, end: to, step })
  const response = await fetch(new URL(`/api/v1/query_range?${parameters}`, prometheus))
  const { data, error } = await response.json()
  if (error !== undefined) throw new Error(`${text}: ${error}`)
  return data.result
}

/** Returns a row for each series and time; `value` is null where there is none, so that the line is interrupted. */
async function rowsOf({ targets }) {
  const rows = []
  for (const { expr, legendFormat } of targets) {
    for (const { metric, values } of await query(expr)) {
      const series = legendFormat.replaceAll(/\{\{(\w+)\}\}/g, (_, label) => metric[label])
      const byTime = new Map(values)
      for (let time = from; time <= to; time += step) {
        const value = Number(byTime.get(time) ?? NaN)
        rows.push({ series, time: time * 1000, value: Number.isFinite(value) ? value : null })
      }
    }
  }
  return rows
}

function chart({ gridPos, fieldConfig: { defaults } }, rows, names, colors) {
  const { stacking, drawStyle, scaleDistribution } = defaults.custom
  const isStacked = stacking.mode === 'normal'
  const width = gridPos.w * CELL.width - 84
  const max = Math.max(...rows.map(({ value }) => value))
  const bars = { type: 'bar', size: (width * step) / (to - from) }
  const lines = isStacked ? { type: 'area', opacity: 0.8 } : { type: 'line', strokeWidth: 1.5 }
  const [format, unit] = FORMATS[defaults.unit]
  const labelExpr = `format(datum.value, '${format}') + '${unit}'`
  const axis = { labelExpr, tickCount: 3, title: null, domain: false }
  return svgOf({
    data: { values: rows },
    width,
    height: gridPos.h * CELL.height - 84,
    padding: { left: 50, right: 8, top: 4, bottom: 18 },
    autosize: { type: 'none' },
    mark: drawStyle === 'bars' ? bars : lines,
    encoding: {
      x: {
        field: 'time',
        type: 'temporal',
        axis: { title: null, format: '%H:%M', tickCount: 6 },
        scale: { domain: [from * 1000, to * 1000] },
      },
      y: {
        field: 'value',
        type: 'quantitative',
        axis,
        stack: isStacked ? 'zero' : null,
        scale: max === 0 ? { domain: [0, 1] } : { type: scaleDistribution?.type ?? 'linear' },
      },
      color: {
        field: 'series',
        type: 'nominal',
        scale: { domain: names, range: colors },
        legend: null,
      },
    },
  })
}

/** Returns a large number in the color of its threshold. */
function figure({ fieldConfig: { defaults } }, rows) {
  const value = rows.at(-1)?.value ?? 0
  const { unit, thresholds } = defaults
  const reached = thresholds?.steps.findLast(each => each.value === null || value >= each.value)
  const color = { orange: COLORS[1], red: RED }[reached?.color] ?? COLORS[0]
  const shown = unit === 'percentunit' ? `${(value * 100).toFixed(1)} %` : Math.round(value)
  return `<b style="color: ${color}">${shown}${unit === 's' ? ' s' : ''}</b>`
}

async function draw(panel) {
  const { type, title, gridPos, fieldConfig } = panel
  const rows = await rowsOf(panel)
  const names = [...new Set(rows.map(({ series }) => series))]
  const isRed = name =>
    fieldConfig.overrides.some(({ matcher }) => name.endsWith(matcher.options.slice(1, -2)))
  const colors = names.map((name, i) => (isRed(name) ? RED : COLORS[i]))
  const legend = names.map(
    (name, i) => `<span><i style="background: ${colors[i]}"></i>${name}</span>`,
  )
  const content =
    type === 'stat'
      ? figure(panel, rows)
      : `${await chart(panel, rows, names, colors)}<p>${legend.join('')}</p>`
  const { x, y, w, h } = gridPos
  const box = [
    `left: ${x * CELL.width}px; top: ${y * CELL.height}px`,
    `width: ${w * CELL.width - 8}px; height: ${h * CELL.height - 8}px`,
  ]
  return `<section style="${box.join('; ')}"><h1>${title}</h1>${content}</section>`
}

const html = `<style>
  body { margin: 0; font: 11px sans-serif }
  section { position: absolute; box-sizing: border-box; border: 1px solid #ddd; padding: 4px 8px }
  h1 { font-size: 12px; margin: 0 0 6px }
  p { margin: 1px 0; line-height: 11px }
  b { font-size: 26px }
  span { white-space: nowrap; margin-right: 8px; font-size: 10px }
  i { display: inline-block; width: 8px; height: 8px; margin-right: 3px }
</style>${(await Promise.all(panels.map(draw))).join('')}`
const height = Math.max(...panels.map(({ gridPos: { y, h } }) => y + h)) * CELL.height
const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: ['--no-sandbox'],
})
const page = await browser.newPage({ viewport: { width: 24 * CELL.width, height } })
await page.setContent(html)
await page.screenshot({ path: PICTURE })
await browser.close()
execFileSync('pngquant', ['--force', '--ext=.png', '--speed=1', '--nofs', '10', PICTURE])
