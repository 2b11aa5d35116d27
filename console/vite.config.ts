import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';
import { brotliCompress, gzip } from 'node:zlib';
import { type DocumentNode, print } from 'graphql';
import { defineConfig, type Plugin } from 'vite';

const OUT = join(import.meta.dirname, '../dist/console');

/** The server sends these files as they are; index.html is completed at its start, with the base path. */
function precompress(): Plugin {
  return {
    name: 'precompress',
    apply: 'build',
    writeBundle: async ({ dir = OUT }) => {
      const names = await readdir(join(dir, 'assets'));
      await Promise.all(names.map((name) => compress(join(dir, 'assets', name))));
    },
  };
}

/** Operations as text, which is a third of the size of their syntax trees; urql takes both. */
function printDocuments(): Plugin {
  return {
    name: 'print-documents',
    enforce: 'pre',
    transform: (code, id) => {
      if (!id.endsWith('/generated/graphql.ts')) return undefined;
      return code.replaceAll(/^(export const \w+Document = )(\{.*\}) as /gm, (_, start: string, tree: string) => {
        // `as`: the generator's output.
        const text = print(JSON.parse(tree) as DocumentNode).replaceAll(/\s+/g, ' ');
        return `${start}${JSON.stringify(text)} as `;
      });
    },
  };
}

async function compress(path: string): Promise<void> {
  const content = await readFile(path);
  await writeFile(`${path}.br`, await promisify(brotliCompress)(content));
  await writeFile(`${path}.gz`, await promisify(gzip)(content, { level: 9 }));
}

// The tool reads the default export.
export default defineConfig(({ command }) => {
  // Otherwise a build below a test or a development server would contain the development version of React.
  if (command === 'build') process.env['NODE_ENV'] = 'production';
  return {
    root: import.meta.dirname,
    // Relative: the base path is known only when the server starts, and index.html has it in <base>.
    base: command === 'serve' ? '/console/' : './',
    plugins: [printDocuments(), precompress()],
    build: {
      outDir: OUT,
      emptyOutDir: true,
      target: 'es2022',
      // The content security policy permits no data: URLs for scripts and styles.
      assetsInlineLimit: 0,
      modulePreload: { polyfill: false },
      rolldownOptions: {
        input: {
          console: join(import.meta.dirname, 'index.html'),
          portal: join(import.meta.dirname, 'portal.html'),
          element: join(import.meta.dirname, 'portal/element.ts'),
        },
        // Other people's pages load it, so it has a name that does not change.
        output: { entryFileNames: ({ name }) => (name === 'element' ? 'element.js' : 'assets/[name]-[hash].js') },
      },
    },
    server: { proxy: { '/graphql': { target: 'http://127.0.0.1:4000', ws: true } } },
  };
});
