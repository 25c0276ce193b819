#!/usr/bin/env node
'use strict';

const commands = new Map();

function register(name, description, run) {
  commands.set(name, { description, run });
}

register('init', 'set the workspace up', () => 'ready');
register('duckdb-status', 'duckdb command: is the database open?', () => require('./data-services/duckdb-service'));
register('version', 'which version is this?', () => '1.0.0');
register('duckdb-compact', 'duckdb command: give space back', () => require('./lib/duckdb-manager'));
register('analyse', 'analytical query command: run one file', () => require('./data-services/analytical-query-service'));
register('log', 'write a line to the log', () => require('./lib/logger'));

function main(name = 'help') {
  const command = commands.get(name);
  if (!command) {
    return [...commands].map(([word, { description }]) => `${word}: ${description}`).join('\n');
  }
  return command.run();
}

module.exports = { main };

if (require.main === module) {
  console.log(main(process.argv[2]));
}
