#!/usr/bin/env node
/** Executable entry point: runs `main` and sets the exit status. */
import { main } from './main.js'

process.exitCode = await main(process.argv.slice(2), process)
