CREATE TABLE `drizzle_posts` (
	`id` int AUTO_INCREMENT PRIMARY KEY,
	`author_id` int NOT NULL,
	`title` varchar(100) NOT NULL
);
--> statement-breakpoint
ALTER TABLE `drizzle_posts` ADD CONSTRAINT `drizzle_posts_author` FOREIGN KEY (`author_id`) REFERENCES `drizzle_users` (`id`);
--> statement-breakpoint
ALTER TABLE `drizzle_posts` ADD COLUMN `price` decimal(10, 2);
--> statement-breakpoint
CREATE INDEX `drizzle_posts_title` ON `drizzle_posts` (`title`);
