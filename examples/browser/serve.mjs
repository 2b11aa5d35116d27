// Serves the page and the library it imports. The page uses only WebSockets. For HTTP requests from the page, start the
// engine with CORS_ORIGINS=http://localhost:8080.
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import process from 'node:process';

const LIBRARY = /^\/graphql-ws\/([\w-]+\.js)$/;

createServer(async ({ url }, response) => {
  const library = LIBRARY.exec(url)?.[1];
  const file = library === undefined ? 'index.html' : `../../node_modules/graphql-ws/dist/${library}`;
  const type = library === undefined ? 'text/html; charset=utf-8' : 'text/javascript';
  const content = await readFile(new URL(file, import.meta.url)).catch(() => undefined);
  response.writeHead(content === undefined ? 404 : 200, { 'content-type': type }).end(content);
}).listen(Number(process.env.PORT ?? 8080), 'localhost');
