#!/usr/bin/env node
/** The executable: hands the process to `main` and takes its exit status. */
import { main } from './main.js'

process.exitCode = await main(process.argv.slice(2), process)
