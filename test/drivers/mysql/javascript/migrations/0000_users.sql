CREATE TABLE `drizzle_users` (
	`id` int AUTO_INCREMENT PRIMARY KEY,
	`name` varchar(50) NOT NULL UNIQUE,
	`is_active` boolean DEFAULT true NOT NULL,
	`settings` json,
	`joined` datetime(3) NOT NULL
);
