#!/usr/bin/env node
'use strict';

const commands = new Map();

function register(name, description, run) {
  commands.set(name, { description, run });
}

register('install', 'set the method up', () => 'ready');
register('start-data-service', 'serve the data interface on port 3001', () => 'port 3001');
register('duckdb', 'duckdb command: open the database', () => 'open');
register('query', 'analytical query command: run one file', () => 'done');
register('agents', 'list the agents', () => 'analyst, architect');

function main(name = 'help') {
  const command = commands.get(name);
  if (!command) {
    return [...commands.keys()].join('\n');
  }
  return command.run();
}

module.exports = { main };

if (require.main === module) {
  console.log(main(process.argv[2]));
}
