// Serves a page of your product that embeds the portal, and creates the portal's sessions. Start the engine with
// PORTAL_ORIGINS=http://localhost:8081.
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import process from 'node:process';

const ENGINE_URL = process.env.URL ?? 'http://127.0.0.1:4000';
const key = process.env.KEY ?? (await readFile('.data/admin-api-key', 'utf8')).trim();

/** Creates a portal session and returns its token. In your product, pass the tenant and the id of the signed-in user. */
async function createSession(tenant, user) {
  const query = `mutation ($input: CreatePortalSessionInput!) { createPortalSession(input: $input) {
    ... on CreatePortalSessionPayload { token } ... on Error { message } } }`;
  const input = { tenant, subject: user, scope: 'TENANT_WRITE', ttlSeconds: 900 };
  const response = await fetch(`${ENGINE_URL}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
    body: JSON.stringify({ query, variables: { input } }),
  });
  const { data, errors } = await response.json();
  const { token, message } = data?.createPortalSession ?? errors[0];
  if (token === undefined) throw new Error(message);
  return token;
}

const page = await readFile(new URL('index.html', import.meta.url), 'utf8');

createServer(async ({ method, url }, response) => {
  if (method === 'POST' && url === '/portal-session') {
    try {
      const token = await createSession(process.env.TENANT ?? 'acme', 'user 42');
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ token }));
    } catch (error) {
      // The reason is for you, and not for your users.
      console.error(`no portal session: ${error.message}`);
      response.writeHead(502).end();
    }
  } else if (url === '/') {
    response.writeHead(200, {
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy': `default-src 'self'; script-src ${ENGINE_URL}; frame-src ${ENGINE_URL}; style-src 'unsafe-inline'`,
    });
    response.end(page.replaceAll('http://127.0.0.1:4000', ENGINE_URL));
  } else response.writeHead(404).end();
}).listen(Number(process.env.PORT ?? 8081), 'localhost');
