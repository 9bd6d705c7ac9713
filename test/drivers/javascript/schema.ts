/** The tables of the program for Drizzle, as migrations/ makes them. */

import { relations } from 'drizzle-orm';
import {
  boolean,
  integer,
  jsonb,
  numeric,
  pgTable,
  serial,
  text,
  timestamp,
} from 'drizzle-orm/pg-core';

export const users = pgTable('drizzle_users', {
  id: serial('id').primaryKey(),
  name: text('name').notNull().unique(),
  isActive: boolean('is_active').notNull().default(true),
  settings: jsonb('settings').$type<{ readonly theme: string }>(),
  joined: timestamp('joined', { withTimezone: true }).notNull(),
});

export const posts = pgTable('drizzle_posts', {
  id: serial('id').primaryKey(),
  author: integer('author_id')
    .notNull()
    .references(() => users.id),
  title: text('title').notNull(),
  price: numeric('price', { precision: 10, scale: 2 }),
  tags: text('tags').array(),
});

export const usersRelations = relations(users, ({ many }) => ({ posts: many(posts) }));
export const postsRelations = relations(posts, ({ one }) => ({
  writer: one(users, { fields: [posts.author], references: [users.id] }),
}));
