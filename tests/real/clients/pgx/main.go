// Logs in once with a token, through pgx, and says as JSON how it went; never shows the token.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// page: begin
func connect(ctx context.Context, settings, tokenFile string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(settings)
	if err != nil {
		return nil, err
	}
	config.OAuthTokenProvider = func(context.Context) (string, error) { // asked once a connection
		token, err := os.ReadFile(tokenFile)
		return strings.TrimSpace(string(token)), err
	}
	return pgx.ConnectConfig(ctx, config)
}

// page: end

type report struct {
	Role     string `json:"role"`
	Identity string `json:"identity"`
	Error    string `json:"error"`
	SQLState string `json:"sqlstate"`
}

func main() {
	found, err := login(context.Background(), os.Args[1], os.Getenv("TOKEN_FILE"))
	if err != nil {
		found.Error = err.Error()
		var said *pgconn.PgError
		if errors.As(err, &said) {
			found.SQLState = said.Code
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(found); err != nil {
		log.Fatal(err)
	}
}

func login(ctx context.Context, settings, tokenFile string) (report, error) {
	conn, err := begin(ctx, settings, tokenFile)
	if err != nil {
		return report{}, err
	}
	defer conn.Close(ctx)
	var found report
	err = conn.QueryRow(ctx, "SELECT current_user, coalesce(system_user, '')").Scan(&found.Role, &found.Identity)
	return found, err
}

// Without a file, as a program that knows nothing of tokens.
func begin(ctx context.Context, settings, tokenFile string) (*pgx.Conn, error) {
	if tokenFile == "" {
		return pgx.Connect(ctx, settings)
	}
	return connect(ctx, settings, tokenFile)
}
