import process from 'node:process';
import { defineConfig } from 'prisma/config';

// `prisma generate` insists that a schema engine exists although it never runs it, and would download one. Any
// existing file satisfies it; migrations are applied by src/postgres/migrate.ts, which needs no engine.
process.env['PRISMA_SCHEMA_ENGINE_BINARY'] ??= process.execPath;

export default defineConfig({ schema: 'prisma/schema.prisma' });
