import { writeFileSync } from 'node:fs';
import { defaultOf, limitsOf, SETTING_ROWS } from '../src/subscriptions/settings.ts';

const INTRODUCTION = `<!-- Printed from src/subscriptions/settings.ts by \`npm run generate\`: change the table there. -->

# Settings of a webhook subscription

\`createWebhookSubscription\` and \`updateWebhookSubscription\` take these settings. An absent setting gets its default when the
subscription is created, and keeps its value in an update.
`;

const rows = SETTING_ROWS.map(([name, { description, isRequired, onUpdate }]) => {
  const meaning = [`${description}.`, onUpdate].filter((sentence) => sentence !== undefined).join(' ');
  return [`\`${name}\``, limitsOf(name) ?? '`true` or `false`', isRequired ? 'required' : defaultOf(name), meaning];
});
const table = [['setting', 'values', 'default', 'meaning'], ['---', '---', '---', '---'], ...rows].map(
  (row) => `| ${row.join(' | ')} |`,
);
writeFileSync(new URL('../docs/subscription-settings.md', import.meta.url), `${INTRODUCTION}\n${table.join('\n')}\n`);
